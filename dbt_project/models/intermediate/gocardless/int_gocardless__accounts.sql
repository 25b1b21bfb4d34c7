-- GoCardless' accounts with what their details, and failing those their amounts, tell of them.
with accounts as (

    select * from {{ ref('stg_gocardless__accounts') }}

),

details as (

    select * from {{ ref('stg_gocardless__details') }} where is_readable

),

-- Where details name no currency: that of the last reading, which is all in one currency most often, else of a transaction.
balance_currencies as (

    select connection_id, provider_account_id, arg_max(currency, (as_of, -position)) as currency
    from {{ ref('stg_gocardless__balances') }}
    where currency is not null
    group by all

),

transaction_currencies as (

    select connection_id, provider_account_id, mode(currency order by currency) as currency
    from {{ ref('stg_gocardless__transactions') }}
    where currency is not null
    group by all

),

joined as (

    select
        accounts.bucket,
        accounts.connection_id,
        accounts.provider_account_id,
        coalesce(details.display_name, details.name, details.product) as name,
        case
            when details.cash_account_type = 'CARD' then 'credit'
            when details.cash_account_type = 'LOAN' then 'loan'
            when details.cash_account_type in ('CACC', 'CASH', 'MOMA', 'ONDP', 'OTHR', 'SACC', 'SLRY', 'SVGS', 'TRAN') then 'depository'
            when details.cash_account_type is null and accounts.sign_is_turned then 'credit'
            else 'other'
        end as kind,
        details.cash_account_type as subtype,
        coalesce(details.currency, balance_currencies.currency, transaction_currencies.currency) as currency,
        accounts.institution_id,
        accounts.sign_is_turned,
        accounts.is_readable,
        accounts.synced_at,
        accounts.removed_at
    from accounts
    left join details
        on accounts.connection_id = details.connection_id
        and accounts.provider_account_id = details.provider_account_id
    left join balance_currencies
        on accounts.connection_id = balance_currencies.connection_id
        and accounts.provider_account_id = balance_currencies.provider_account_id
    left join transaction_currencies
        on accounts.connection_id = transaction_currencies.connection_id
        and accounts.provider_account_id = transaction_currencies.provider_account_id

)

select * from joined
