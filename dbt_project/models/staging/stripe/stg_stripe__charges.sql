with source as (

    select * from {{ source('raw', 'stripe_charges') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "customer": "VARCHAR", "status": "VARCHAR", "amount": "VARCHAR",
            "amount_captured": "VARCHAR", "amount_refunded": "VARCHAR", "balance_transaction": "VARCHAR", "payment_intent": "VARCHAR",
            "failure_code": "VARCHAR", "captured": "BOOLEAN", "refunded": "BOOLEAN", "disputed": "BOOLEAN", "description": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_charge_id,
        fields.customer as provider_customer_id,
        fields.status as status,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.amount', 'fields.currency') }} as amount,
        {{ stripe_money('fields.amount_captured', 'fields.currency') }} as amount_captured,
        {{ stripe_money('fields.amount_refunded', 'fields.currency') }} as amount_refunded,
        fields.balance_transaction as provider_balance_transaction_id,
        fields.payment_intent as provider_payment_intent_id,
        fields.failure_code as failure_code,
        fields.captured as is_captured,
        fields.refunded as is_refunded,
        fields.disputed as is_disputed,
        {{ clean('fields.description') }} as description,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
