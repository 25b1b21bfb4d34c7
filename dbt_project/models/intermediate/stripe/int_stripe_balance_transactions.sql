with stripe as (

    select * from {{ ref('stg_stripe__balance_transactions') }}

),

connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

judged as (

    select
        stripe.bucket,
        {{ account_key('stripe.connection_id', 'stripe.provider_balance_transaction_id') }} as balance_transaction_key,
        connections.customer_id,
        stripe.connection_id,
        stripe.provider_balance_transaction_id,
        stripe.type,
        stripe.reporting_category,
        stripe.provider_source_id,
        stripe.status,
        stripe.currency,
        stripe.amount,
        stripe.fee,
        stripe.net,
        stripe.exchange_rate,
        stripe.available_on,
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
