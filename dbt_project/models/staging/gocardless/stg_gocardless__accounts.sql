with source as (

    select * from {{ source('raw', 'gocardless_accounts') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{"institution_id": "VARCHAR", "status": "VARCHAR", "iban": "VARCHAR"}')) as fields
    from source

),

renamed as (

    -- A whole IBAN is enough to debit an account, and an owner's name is a person's: both stay in the store.
    select
        bucket,
        connection_id,
        record_id as provider_account_id,
        fields.institution_id as institution_id,
        fields.status as status,
        right({{ filled('fields.iban') }}, 4) as iban_last_four,
        coalesce(fields.institution_id in {{ gocardless_turned_institutions() }}, false) as sign_is_turned,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
