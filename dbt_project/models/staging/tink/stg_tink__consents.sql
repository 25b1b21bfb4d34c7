with source as (

    select * from {{ source('raw', 'tink_consents') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "providerName": "VARCHAR", "status": "VARCHAR", "statusUpdated": "BIGINT", "sessionExpiryDate": "BIGINT",
            "sessionExtendable": "BOOLEAN", "accountIds": ["VARCHAR"],
            "detailedError": {"type": "VARCHAR", "details": {"reason": "VARCHAR"}}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_consent_id,
        fields.providerName as provider_name,
        fields.status as status,
        to_timestamp(fields.statusUpdated // 1000) as status_updated_at,
        to_timestamp(fields.sessionExpiryDate // 1000) as session_expires_at,
        fields.sessionExtendable as is_extendable,
        coalesce(len(fields.accountIds), 0)::integer as accounts,
        fields.detailedError.type as error_type,
        fields.detailedError.details.reason as error_reason,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
