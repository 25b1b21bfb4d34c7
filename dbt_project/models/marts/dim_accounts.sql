with accounts as (

    select * from {{ ref('int_accounts') }} where excluded_because is null

),

final as (

    select
        account_key,
        customer_id,
        connection_id,
        provider,
        provider_account_id,
        name,
        kind,
        subtype,
        currency,
        status,
        institution_name,
        bucket
    from accounts

)

select * from final
