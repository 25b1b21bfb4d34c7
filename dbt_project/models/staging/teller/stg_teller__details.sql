with source as (

    select * from {{ source('raw', 'teller_details') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "account_number": "VARCHAR", "routing_numbers": {"ach": "VARCHAR", "wire": "VARCHAR", "bacs": "VARCHAR"}
        }')) as fields
    from source

),

renamed as (

    -- A whole account number is enough to debit an account: it stays in the store, the lake has its last four digits.
    select
        bucket,
        connection_id,
        account_id as provider_account_id,
        right(fields.account_number, 4) as account_number_last_four,
        fields.routing_numbers.ach as routing_number_ach,
        fields.routing_numbers.wire as routing_number_wire,
        fields.routing_numbers.bacs as routing_number_bacs,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
