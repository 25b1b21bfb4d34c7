with stripe as (

    select * from {{ ref('stg_stripe__invoices') }}

),

connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

judged as (

    select
        stripe.bucket,
        {{ account_key('stripe.connection_id', 'stripe.provider_invoice_id') }} as invoice_key,
        connections.customer_id,
        stripe.connection_id,
        stripe.provider_invoice_id,
        stripe.provider_customer_id,
        stripe.provider_subscription_id,
        stripe.number,
        stripe.status,
        stripe.billing_reason,
        stripe.collection_method,
        stripe.currency,
        stripe.subtotal,
        stripe.total,
        stripe.amount_due,
        stripe.amount_paid,
        stripe.amount_remaining,
        stripe.pre_payment_credit_notes_amount,
        stripe.post_payment_credit_notes_amount,
        stripe.attempt_count,
        stripe.period_starts_at,
        stripe.period_ends_at,
        stripe.due_at,
        stripe.finalized_at,
        stripe.paid_at,
        stripe.marked_uncollectible_at,
        stripe.voided_at,
        stripe.created_at,
        stripe.first_synced_at,
        stripe.synced_at,
        case
            when stripe.removed_at is not null then coalesce(stripe.removed_reason, 'removed')
            when not stripe.is_readable then 'unreadable'
            when connections.connection_id is null then 'unknown_connection'
            when stripe.created_at is null then 'no_date'
            when stripe.total is null then 'no_amount'
            when stripe.currency is null then 'no_currency'
        end as excluded_because
    from stripe
    left join connections on stripe.connection_id = connections.connection_id

)

select * from judged
