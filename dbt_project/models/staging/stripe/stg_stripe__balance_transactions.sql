with source as (

    select * from {{ source('raw', 'stripe_balance_transactions') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "available_on": "VARCHAR", "currency": "VARCHAR", "status": "VARCHAR", "type": "VARCHAR",
            "reporting_category": "VARCHAR", "source": "VARCHAR", "amount": "VARCHAR", "fee": "VARCHAR", "net": "VARCHAR", "exchange_rate": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_balance_transaction_id,
        fields.type as type,
        fields.reporting_category as reporting_category,
        fields.source as provider_source_id,
        fields.status as status,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.amount', 'fields.currency') }} as amount,
        {{ stripe_money('fields.fee', 'fields.currency') }} as fee,
        {{ stripe_money('fields.net', 'fields.currency') }} as net,
        fields.exchange_rate as exchange_rate,
        {{ unix_time('fields.available_on') }}::date as available_on,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
