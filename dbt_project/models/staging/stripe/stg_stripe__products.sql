with source as (

    select * from {{ source('raw', 'stripe_products') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "updated": "VARCHAR", "name": "VARCHAR", "active": "BOOLEAN"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_product_id,
        {{ clean('fields.name') }} as name,
        fields.active as is_active,
        {{ unix_time('fields.created') }} as created_at,
        {{ unix_time('fields.updated') }} as updated_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
