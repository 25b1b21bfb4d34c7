with source as (

    select * from {{ source('raw', 'teller_transactions') }}

),

parsed as (

    -- The document is parsed once, for all fields; one that cannot be parsed gives NULL and goes on as unreadable.
    select
        *,
        try(from_json(payload, '{
            "amount": "VARCHAR", "date": "VARCHAR", "description": "VARCHAR", "type": "VARCHAR", "running_balance": "VARCHAR",
            "details": {
                "processing_status": "VARCHAR", "category": "VARCHAR",
                "counterparty": {"name": "VARCHAR", "type": "VARCHAR"}
            }
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_transaction_id,
        account_id as provider_account_id,
        if(pending, 'pending', 'posted') as status,
        try_cast(fields.date as date) as booked_on,
        {{ money('fields.amount') }} as amount,
        {{ money('fields.running_balance') }} as running_balance,
        {{ clean('fields.description') }} as description,
        fields.type as type,
        fields.details.processing_status as processing_status,
        fields.details.category as category,
        {{ clean('fields.details.counterparty.name') }} as counterparty,
        fields.details.counterparty.type as counterparty_type,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
