with source as (

    select * from {{ source('raw', 'tink_accounts') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "name": "VARCHAR", "type": "VARCHAR", "financialInstitutionId": "VARCHAR", "customerSegment": "VARCHAR",
            "balances": {
                "booked": {"amount": {"currencyCode": "VARCHAR"}}, "available": {"amount": {"currencyCode": "VARCHAR"}}
            },
            "dates": {"lastRefreshed": "VARCHAR"}
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
        fields.customerSegment as customer_segment,
        fields.financialInstitutionId as institution_id,
        upper(coalesce(
            fields.balances.booked.amount.currencyCode, fields.balances.available.amount.currencyCode
        )) as currency,
        try_cast(fields.dates.lastRefreshed as timestamp with time zone) as refreshed_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
