with source as (

    select * from {{ source('raw', 'plaid_accounts') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "name": "VARCHAR", "official_name": "VARCHAR", "type": "VARCHAR", "subtype": "VARCHAR", "mask": "VARCHAR",
            "persistent_account_id": "VARCHAR",
            "balances": {"iso_currency_code": "VARCHAR", "unofficial_currency_code": "VARCHAR"}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_account_id,
        {{ clean('fields.name') }} as name,
        {{ clean('fields.official_name') }} as official_name,
        fields.type as type,
        fields.subtype as subtype,
        coalesce(upper(fields.balances.iso_currency_code), fields.balances.unofficial_currency_code) as currency,
        fields.mask as mask,
        fields.persistent_account_id as persistent_account_id,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
