with source as (

    select * from {{ source('raw', 'plaid_transactions') }}

),

parsed as (

    -- The document is parsed once, for all fields; one that cannot be parsed gives NULL and goes on as unreadable.
    select
        *,
        try(from_json(payload, '{
            "amount": "VARCHAR", "iso_currency_code": "VARCHAR", "unofficial_currency_code": "VARCHAR", "date": "VARCHAR",
            "authorized_date": "VARCHAR", "name": "VARCHAR", "merchant_name": "VARCHAR", "payment_channel": "VARCHAR",
            "transaction_code": "VARCHAR", "pending_transaction_id": "VARCHAR",
            "personal_finance_category": {"primary": "VARCHAR", "detailed": "VARCHAR"},
            "counterparties": [{"name": "VARCHAR", "type": "VARCHAR"}]
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
        fields.pending_transaction_id as pending_transaction_id,
        try_cast(fields.date as date) as booked_on,
        try_cast(fields.authorized_date as date) as authorized_on,
        {{ number_text('payload', 'amount', 'fields.amount') }} as amount_text,
        coalesce(upper(fields.iso_currency_code), fields.unofficial_currency_code) as currency,
        {{ clean('fields.name') }} as description,
        {{ clean('coalesce(fields.merchant_name, fields.counterparties[1].name)') }} as counterparty,
        fields.counterparties[1].type as counterparty_type,
        fields.personal_finance_category.primary as category,
        fields.personal_finance_category.detailed as detailed_category,
        fields.transaction_code as transaction_code,
        fields.payment_channel as payment_channel,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

),

typed as (

    select * exclude (amount_text), {{ money_of_double('amount_text') }} as amount from renamed

)

select * from typed
