with source as (

    select * from {{ source('raw', 'teller_balances') }}

),

parsed as (

    select *, try(from_json(payload, '{"ledger": "VARCHAR", "available": "VARCHAR"}')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_balance_id,
        account_id as provider_account_id,
        record_date as as_of,
        {{ money('fields.ledger') }} as ledger,
        {{ money('fields.available') }} as available,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
