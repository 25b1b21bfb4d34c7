with refunds as (

    select * from {{ ref('int_stripe_refunds') }} where excluded_because is null

),

final as (

    select
        refund_key,
        customer_id,
        connection_id,
        provider_refund_id,
        provider_charge_id,
        provider_payment_intent_id,
        status,
        currency,
        amount,
        provider_balance_transaction_id,
        reason,
        created_at,
        first_synced_at,
        synced_at,
        bucket
    from refunds

)

select * from final
