with source as (

    select * from {{ source('raw', 'stripe_invoices') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "customer": "VARCHAR", "status": "VARCHAR", "number": "VARCHAR",
            "billing_reason": "VARCHAR", "collection_method": "VARCHAR", "due_date": "VARCHAR", "period_start": "VARCHAR", "period_end": "VARCHAR",
            "subtotal": "VARCHAR", "total": "VARCHAR", "amount_due": "VARCHAR", "amount_paid": "VARCHAR", "amount_remaining": "VARCHAR",
            "post_payment_credit_notes_amount": "VARCHAR", "pre_payment_credit_notes_amount": "VARCHAR", "attempt_count": "VARCHAR",
            "status_transitions": {
                "finalized_at": "VARCHAR", "paid_at": "VARCHAR", "marked_uncollectible_at": "VARCHAR", "voided_at": "VARCHAR"
            },
            "parent": {"subscription_details": {"subscription": "VARCHAR"}}, "subscription": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_invoice_id,
        fields.customer as provider_customer_id,
        coalesce(fields.parent.subscription_details.subscription, fields.subscription) as provider_subscription_id,
        {{ clean('fields.number') }} as number,
        fields.status as status,
        fields.billing_reason as billing_reason,
        fields.collection_method as collection_method,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.subtotal', 'fields.currency') }} as subtotal,
        {{ stripe_money('fields.total', 'fields.currency') }} as total,
        {{ stripe_money('fields.amount_due', 'fields.currency') }} as amount_due,
        {{ stripe_money('fields.amount_paid', 'fields.currency') }} as amount_paid,
        {{ stripe_money('fields.amount_remaining', 'fields.currency') }} as amount_remaining,
        {{ stripe_money('fields.pre_payment_credit_notes_amount', 'fields.currency') }} as pre_payment_credit_notes_amount,
        {{ stripe_money('fields.post_payment_credit_notes_amount', 'fields.currency') }} as post_payment_credit_notes_amount,
        try_cast(fields.attempt_count as bigint) as attempt_count,
        {{ unix_time('fields.period_start') }} as period_starts_at,
        {{ unix_time('fields.period_end') }} as period_ends_at,
        {{ unix_time('fields.due_date') }} as due_at,
        {{ unix_time('fields.status_transitions.finalized_at') }} as finalized_at,
        {{ unix_time('fields.status_transitions.paid_at') }} as paid_at,
        {{ unix_time('fields.status_transitions.marked_uncollectible_at') }} as marked_uncollectible_at,
        {{ unix_time('fields.status_transitions.voided_at') }} as voided_at,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
