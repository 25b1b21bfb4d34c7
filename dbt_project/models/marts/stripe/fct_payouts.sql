with payouts as (

    select * from {{ ref('int_stripe_payouts') }} where excluded_because is null

),

final as (

    select
        payout_key,
        customer_id,
        connection_id,
        provider_payout_id,
        status,
        currency,
        amount,
        arrives_on,
        is_automatic,
        method,
        type,
        provider_balance_transaction_id,
        failure_code,
        original_payout_id,
        reversed_by_payout_id,
        created_at,
        first_synced_at,
        synced_at,
        bucket
    from payouts

)

select * from final
