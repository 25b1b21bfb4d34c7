with source as (

    select * from {{ source('raw', 'tink_transactions') }}

),

parsed as (

    -- The document is parsed once, for all fields; one that cannot be parsed gives NULL and goes on as unreadable.
    select
        *,
        try(from_json(payload, '{
            "amount": {"currencyCode": "VARCHAR", "value": {"unscaledValue": "VARCHAR", "scale": "VARCHAR"}},
            "status": "VARCHAR",
            "dates": {"booked": "VARCHAR", "transaction": "VARCHAR", "value": "VARCHAR"},
            "bookedDateTime": "VARCHAR",
            "descriptions": {"original": "VARCHAR", "display": "VARCHAR"},
            "reference": "VARCHAR",
            "identifiers": {"providerTransactionId": "VARCHAR"},
            "categories": {"pfm": {"id": "VARCHAR"}},
            "merchantInformation": {"merchantName": "VARCHAR", "merchantCategoryCode": "VARCHAR"},
            "counterparties": {"payee": {"name": "VARCHAR"}, "payer": {"name": "VARCHAR"}}
        }')) as fields
    from source

),

amounts as (

    select
        *,
        {{ money_of_scaled('fields.amount.value.unscaledValue', 'fields.amount.value.scale') }} as amount
    from parsed

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_transaction_id,
        account_id as provider_account_id,
        if(pending, 'pending', 'posted') as status,
        fields.status as provider_status,
        -- Only `booked` is the day of booking; the others stand in for it where the bank gives none.
        coalesce(
            try_cast(fields.dates.booked as date),
            try_cast(left(fields.bookedDateTime, 10) as date),
            try_cast(fields.dates.value as date),
            try_cast(fields.dates.transaction as date)
        ) as booked_on,
        try_cast(fields.dates.value as date) as value_on,
        amount,
        upper(fields.amount.currencyCode) as currency,
        {{ clean('coalesce(fields.descriptions.original, fields.descriptions.display)') }} as description,
        {{ clean('fields.reference') }} as reference,
        fields.identifiers.providerTransactionId as bank_transaction_id,
        nullif(fields.categories.pfm.id, '') as category,
        fields.merchantInformation.merchantCategoryCode as merchant_category_code,
        -- The other side: who was paid, or who paid.
        {{ clean("coalesce(
            nullif(if(amount < 0, fields.counterparties.payee.name, fields.counterparties.payer.name), ''),
            nullif(fields.merchantInformation.merchantName, '')
        )") }} as counterparty,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from amounts

)

select * from renamed
