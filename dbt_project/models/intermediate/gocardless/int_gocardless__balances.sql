-- GoCardless' readings, of each the booked and the available amount in the account's currency, signed from the holder's
-- side: the amount of the preferred type, of several of one type the latest, then the first that is listed.
with amounts as (

    select * from {{ ref('stg_gocardless__balances') }}

),

accounts as (

    select * from {{ ref('int_gocardless__accounts') }}

),

ranked as (

    -- A bank that turns the sign sells cards: what is available there is what is left of a limit, and no balance.
    select
        amounts.*,
        coalesce(accounts.sign_is_turned, false) as sign_is_turned,
        list_position(
            if(
                accounts.sign_is_turned,
                ['interimBooked', 'closingBooked', 'expected'],
                ['interimBooked', 'closingBooked', 'interimAvailable', 'expected']
            ),
            amounts.balance_type
        ) as booked_rank,
        list_position(
            if(accounts.sign_is_turned, [], ['interimAvailable', 'closingAvailable', 'forwardAvailable', 'openingAvailable']),
            amounts.balance_type
        ) as available_rank,
        accounts.connection_id is null or amounts.currency = accounts.currency as is_own,
        coalesce(amounts.includes_credit_limit, false) as has_limit
    from amounts
    left join accounts
        on amounts.connection_id = accounts.connection_id
        and amounts.provider_account_id = accounts.provider_account_id

),

chosen as (

    select
        bucket,
        connection_id,
        provider_balance_id,
        provider_account_id,
        as_of,
        sign_is_turned,
        first(amount order by booked_rank, has_limit, reference_on desc nulls last, position)
            filter (is_own and booked_rank is not null) as booked,
        first(amount order by available_rank, has_limit, reference_on desc nulls last, position)
            filter (is_own and available_rank is not null) as available,
        is_readable,
        synced_at,
        removed_at,
        removed_reason
    from ranked
    group by all

),

signed as (

    select * exclude (sign_is_turned) replace (if(sign_is_turned, -booked, booked)::decimal(28, 8) as booked)
    from chosen

)

select * from signed
