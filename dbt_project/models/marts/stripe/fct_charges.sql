with charges as (

    select * from {{ ref('int_stripe_charges') }} where excluded_because is null

),

final as (

    select
        charge_key,
        customer_id,
        connection_id,
        provider_charge_id,
        provider_customer_id,
        status,
        currency,
        amount,
        amount_captured,
        amount_refunded,
        provider_balance_transaction_id,
        provider_payment_intent_id,
        failure_code,
        is_captured,
        is_refunded,
        is_disputed,
        description,
        created_at,
        first_synced_at,
        synced_at,
        bucket
    from charges

)

select * from final
