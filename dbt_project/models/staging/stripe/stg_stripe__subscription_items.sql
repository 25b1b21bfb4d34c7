with source as (

    select * from {{ source('raw', 'stripe_subscription_items') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "quantity": "VARCHAR", "price": {
                "id": "VARCHAR", "currency": "VARCHAR", "unit_amount_decimal": "VARCHAR", "type": "VARCHAR", "billing_scheme": "VARCHAR",
                "transform_quantity": {"divide_by": "VARCHAR", "round": "VARCHAR"},
                "recurring": {"interval": "VARCHAR", "interval_count": "VARCHAR", "usage_type": "VARCHAR"}
            }, "current_period_start": "VARCHAR", "current_period_end": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_subscription_item_id,
        account_id as provider_subscription_id,
        fields.price.id as provider_price_id,
        upper(fields.price.currency) as currency,
        try_cast(fields.quantity as bigint) as quantity,
        fields.price.unit_amount_decimal as unit_amount_decimal,
        fields.price.recurring.interval as interval,
        try_cast(fields.price.recurring.interval_count as bigint) as interval_count,
        fields.price.recurring.usage_type as usage_type,
        fields.price.billing_scheme as billing_scheme,
        try_cast(fields.price.transform_quantity.divide_by as bigint) as divide_by,
        fields.price.transform_quantity.round as rounds,
        {{ unix_time('fields.current_period_start') }} as current_period_starts_at,
        {{ unix_time('fields.current_period_end') }} as current_period_ends_at,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
