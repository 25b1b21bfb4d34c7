with source as (

    select * from {{ source('raw', 'stripe_events') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "type": "VARCHAR", "api_version": "VARCHAR", "data": {"object": {"id": "VARCHAR", "object": "VARCHAR"}}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_event_id,
        fields.type as type,
        fields.data.object.object as object_type,
        fields.data.object.id as object_id,
        fields.api_version as api_version,
        if(fields.type like 'customer.subscription.%', payload::varchar, null) as document,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
