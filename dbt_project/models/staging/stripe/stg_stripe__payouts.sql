with source as (

    select * from {{ source('raw', 'stripe_payouts') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "status": "VARCHAR", "amount": "VARCHAR", "arrival_date": "VARCHAR", "automatic": "BOOLEAN",
            "balance_transaction": "VARCHAR", "failure_code": "VARCHAR", "method": "VARCHAR", "type": "VARCHAR", "original_payout": "VARCHAR", "reversed_by": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_payout_id,
        fields.status as status,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.amount', 'fields.currency') }} as amount,
        {{ unix_time('fields.arrival_date') }}::date as arrives_on,
        fields.automatic as is_automatic,
        fields.method as method,
        fields.type as type,
        fields.balance_transaction as provider_balance_transaction_id,
        fields.failure_code as failure_code,
        fields.original_payout as original_payout_id,
        fields.reversed_by as reversed_by_payout_id,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
