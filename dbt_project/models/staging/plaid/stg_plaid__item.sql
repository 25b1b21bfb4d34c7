with source as (

    select * from {{ source('raw', 'plaid_item') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "item": {
                "institution_id": "VARCHAR", "institution_name": "VARCHAR", "update_type": "VARCHAR",
                "consent_expiration_time": "VARCHAR", "error": {"error_type": "VARCHAR", "error_code": "VARCHAR"}
            },
            "status": {"transactions": {"last_successful_update": "VARCHAR", "last_failed_update": "VARCHAR"}}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_item_id,
        fields.item.institution_id as institution_id,
        {{ clean('fields.item.institution_name') }} as institution_name,
        fields.item.update_type as update_type,
        fields.item.error.error_type as error_type,
        fields.item.error.error_code as error_code,
        try_cast(fields.item.consent_expiration_time as timestamptz) as consent_expires_at,
        try_cast(fields.status.transactions.last_successful_update as timestamptz) as last_updated_at,
        try_cast(fields.status.transactions.last_failed_update as timestamptz) as last_failed_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
