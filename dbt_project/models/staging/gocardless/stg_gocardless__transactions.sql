with source as (

    select * from {{ source('raw', 'gocardless_transactions') }}

),

parsed as (

    -- The document is parsed once, for all fields; one that cannot be parsed gives NULL and goes on as unreadable.
    -- currencyExchange is an object at some banks and an array at others: it stays JSON.
    select
        *,
        try(from_json(payload, '{
            "transactionId": "VARCHAR", "internalTransactionId": "VARCHAR", "entryReference": "VARCHAR",
            "transactionAmount": {"amount": "VARCHAR", "currency": "VARCHAR"},
            "valueDate": "VARCHAR", "valueDateTime": "VARCHAR",
            "creditorName": "VARCHAR", "debtorName": "VARCHAR",
            "remittanceInformationUnstructured": "VARCHAR", "remittanceInformationUnstructuredArray": "JSON",
            "remittanceInformationStructured": "VARCHAR", "additionalInformation": "VARCHAR",
            "proprietaryBankTransactionCode": "VARCHAR", "bankTransactionCode": "VARCHAR",
            "merchantCategoryCode": "VARCHAR", "currencyExchange": "JSON"
        }')) as fields
    from source

),

renamed as (

    -- The day is the one that the connector found: the booking date, else the value date, whatever form the bank gives.
    select
        bucket,
        connection_id,
        record_id as provider_transaction_id,
        account_id as provider_account_id,
        if(pending, 'pending', 'posted') as status,
        record_date as booked_on,
        coalesce(
            try_cast({{ filled('fields.valueDate') }} as date), try_cast(left({{ filled('fields.valueDateTime') }}, 10) as date)
        ) as value_on,
        {{ money('fields.transactionAmount.amount') }} as amount,
        upper({{ filled('fields.transactionAmount.currency') }}) as currency,
        {{ filled('fields.transactionId') }} as bank_transaction_id,
        {{ filled('fields.internalTransactionId') }} as internal_transaction_id,
        {{ filled('fields.entryReference') }} as entry_reference,
        {{ filled('fields.creditorName') }} as creditor_name,
        {{ filled('fields.debtorName') }} as debtor_name,
        coalesce(
            {{ filled('fields.remittanceInformationUnstructured') }},
            {{ filled("array_to_string(try_cast(fields.remittanceInformationUnstructuredArray as varchar[]), ' ')") }},
            {{ filled('fields.remittanceInformationStructured') }}
        ) as remittance,
        {{ filled('fields.additionalInformation') }} as additional_information,
        coalesce({{ filled('fields.proprietaryBankTransactionCode') }}, {{ filled('fields.bankTransactionCode') }}) as bank_code,
        {{ filled('fields.merchantCategoryCode') }} as merchant_category_code,
        fields.currencyExchange::varchar as currency_exchange,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
