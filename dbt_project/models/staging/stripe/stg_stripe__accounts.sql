with source as (

    select * from {{ source('raw', 'stripe_accounts') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "type": "VARCHAR", "email": "VARCHAR", "country": "VARCHAR", "default_currency": "VARCHAR", "created": "VARCHAR",
            "business_profile": {"name": "VARCHAR"}, "settings": {"dashboard": {"display_name": "VARCHAR"}}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_account_id,
        {{ clean('coalesce(fields.business_profile.name, fields.settings.dashboard.display_name)') }} as name,
        fields.type as type,
        fields.country as country,
        upper(fields.default_currency) as currency,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
