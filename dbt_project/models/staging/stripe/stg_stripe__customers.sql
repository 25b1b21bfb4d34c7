with source as (

    select * from {{ source('raw', 'stripe_customers') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "delinquent": "BOOLEAN", "balance": "VARCHAR", "metadata": "JSON"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_customer_id,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.balance', 'fields.currency') }} as balance,
        fields.delinquent as is_delinquent,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
