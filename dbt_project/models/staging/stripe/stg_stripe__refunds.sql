with source as (

    select * from {{ source('raw', 'stripe_refunds') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "charge": "VARCHAR", "payment_intent": "VARCHAR", "status": "VARCHAR", "amount": "VARCHAR",
            "balance_transaction": "VARCHAR", "reason": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_refund_id,
        fields.charge as provider_charge_id,
        fields.payment_intent as provider_payment_intent_id,
        fields.status as status,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.amount', 'fields.currency') }} as amount,
        fields.balance_transaction as provider_balance_transaction_id,
        fields.reason as reason,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
