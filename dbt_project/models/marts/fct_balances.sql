with balances as (

    select * from {{ ref('int_balances') }} where excluded_because is null

),

final as (

    select
        account_key,
        customer_id,
        connection_id,
        provider,
        as_of,
        booked,
        available,
        currency,
        bucket
    from balances

)

select * from final
