-- GoCardless' transactions, signed from the holder's side, with who was on the other one.
with transactions as (

    select * from {{ ref('stg_gocardless__transactions') }}

),

accounts as (

    select * from {{ ref('int_gocardless__accounts') }}

),

signed as (

    select
        transactions.*,
        coalesce(accounts.sign_is_turned, false) as sign_is_turned,
        if(accounts.sign_is_turned, -transactions.amount, transactions.amount)::decimal(28, 8) as signed_amount
    from transactions
    left join accounts
        on transactions.connection_id = accounts.connection_id
        and transactions.provider_account_id = accounts.provider_account_id

),

named as (

    select
        bucket,
        connection_id,
        provider_transaction_id,
        provider_account_id,
        status,
        booked_on,
        value_on,
        signed_amount as amount,
        currency,
        coalesce(remittance, additional_information) as description,
        case
            -- The cards that turn the sign keep the merchant there.
            when sign_is_turned then coalesce(creditor_name, debtor_name, additional_information)
            when signed_amount < 0 then coalesce(creditor_name, debtor_name)
            else coalesce(debtor_name, creditor_name)
        end as counterparty,
        is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from signed

)

select * from named
