with source as (

    select * from {{ source('raw', 'stripe_prices') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "product": "VARCHAR", "active": "BOOLEAN", "type": "VARCHAR",
            "billing_scheme": "VARCHAR", "unit_amount": "VARCHAR", "unit_amount_decimal": "VARCHAR",
            "recurring": {"interval": "VARCHAR", "interval_count": "VARCHAR", "usage_type": "VARCHAR"}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_price_id,
        fields.product as provider_product_id,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.unit_amount', 'fields.currency') }} as unit_amount,
        fields.unit_amount_decimal as unit_amount_decimal,
        fields.type as type,
        fields.billing_scheme as billing_scheme,
        fields.recurring.interval as interval,
        try_cast(fields.recurring.interval_count as bigint) as interval_count,
        fields.recurring.usage_type as usage_type,
        fields.active as is_active,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
