with stripe as (

    select * from {{ ref('stg_stripe__refunds') }}

),

connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

judged as (

    select
        stripe.bucket,
        {{ account_key('stripe.connection_id', 'stripe.provider_refund_id') }} as refund_key,
        connections.customer_id,
        stripe.connection_id,
        stripe.provider_refund_id,
        stripe.provider_charge_id,
        stripe.provider_payment_intent_id,
        stripe.status,
        stripe.currency,
        stripe.amount,
        stripe.provider_balance_transaction_id,
        stripe.reason,
        stripe.created_at,
        stripe.first_synced_at,
        stripe.synced_at,
        case
            when stripe.removed_at is not null then coalesce(stripe.removed_reason, 'removed')
            when not stripe.is_readable then 'unreadable'
            when connections.connection_id is null then 'unknown_connection'
            when stripe.created_at is null then 'no_date'
            when stripe.amount is null then 'no_amount'
            when stripe.currency is null then 'no_currency'
        end as excluded_because
    from stripe
    left join connections on stripe.connection_id = connections.connection_id

)

select * from judged
