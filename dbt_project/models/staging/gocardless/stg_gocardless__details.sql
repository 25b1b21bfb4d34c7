with source as (

    select * from {{ source('raw', 'gocardless_details') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{"account": {
            "currency": "VARCHAR", "name": "VARCHAR", "displayName": "VARCHAR", "product": "VARCHAR",
            "cashAccountType": "VARCHAR", "status": "VARCHAR", "usage": "VARCHAR"
        }}')).account as fields
    from source

),

renamed as (

    -- Numbers and owners of an account stay in the store.
    select
        bucket,
        connection_id,
        record_id as provider_account_id,
        {{ filled('fields.name') }} as name,
        {{ filled('fields.displayName') }} as display_name,
        {{ filled('fields.product') }} as product,
        upper({{ filled('fields.currency') }}) as currency,
        upper({{ filled('fields.cashAccountType') }}) as cash_account_type,
        {{ filled('fields.status') }} as status,
        {{ filled('fields.usage') }} as usage,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
