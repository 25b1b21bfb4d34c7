with source as (

    select * from {{ source('raw', 'teller_accounts') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "name": "VARCHAR", "type": "VARCHAR", "subtype": "VARCHAR", "currency": "VARCHAR", "status": "VARCHAR",
            "last_four": "VARCHAR", "institution": {"id": "VARCHAR", "name": "VARCHAR"}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_account_id,
        {{ clean('fields.name') }} as name,
        fields.type as type,
        fields.subtype as subtype,
        upper(fields.currency) as currency,
        fields.status as status,
        fields.last_four as last_four,
        fields.institution.id as institution_id,
        {{ clean('fields.institution.name') }} as institution_name,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
