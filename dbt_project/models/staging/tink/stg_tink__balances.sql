with source as (

    select * from {{ source('raw', 'tink_balances') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "booked": {"amount": {"currencyCode": "VARCHAR", "value": {"unscaledValue": "VARCHAR", "scale": "VARCHAR"}}},
            "available": {"amount": {"currencyCode": "VARCHAR", "value": {"unscaledValue": "VARCHAR", "scale": "VARCHAR"}}}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_balance_id,
        account_id as provider_account_id,
        record_date as as_of,
        {{ money_of_scaled('fields.booked.amount.value.unscaledValue', 'fields.booked.amount.value.scale') }} as booked,
        {{ money_of_scaled('fields.available.amount.value.unscaledValue', 'fields.available.amount.value.scale') }} as available,
        upper(coalesce(fields.booked.amount.currencyCode, fields.available.amount.currencyCode)) as currency,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
