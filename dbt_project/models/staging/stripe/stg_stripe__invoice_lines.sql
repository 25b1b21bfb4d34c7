with source as (

    select * from {{ source('raw', 'stripe_invoice_lines') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "currency": "VARCHAR", "amount": "VARCHAR", "description": "VARCHAR", "quantity": "VARCHAR", "period": {"start": "VARCHAR", "end": "VARCHAR"},
            "pricing": {"price_details": {"price": "VARCHAR", "product": "VARCHAR"}},
            "parent": {"invoice_item_details": {"proration": "BOOLEAN"}, "subscription_item_details": {
                "proration": "BOOLEAN", "subscription": "VARCHAR", "subscription_item": "VARCHAR"
            }}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_invoice_line_id,
        account_id as provider_invoice_id,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.amount', 'fields.currency') }} as amount,
        try_cast(fields.quantity as bigint) as quantity,
        {{ clean('fields.description') }} as description,
        fields.pricing.price_details.price as provider_price_id,
        fields.parent.subscription_item_details.subscription as provider_subscription_id,
        coalesce(fields.parent.invoice_item_details.proration, fields.parent.subscription_item_details.proration, false) as is_proration,
        {{ unix_time('fields.period.start') }} as period_starts_at,
        {{ unix_time('fields.period.end') }} as period_ends_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
