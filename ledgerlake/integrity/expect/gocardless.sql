-- GoCardless Bank Account Data: an amount is text with its currency, negative is money out, and a card's debt is a negative
-- balance. Cards of SEB Kort (every institution of the BIC SKHSFI21, and SEB's own card) send the opposite sign, and their
-- available amounts are what is left of a credit limit. Whether a row is pending is said by the list that it stands in.
-- `account_payloads` holds both what is known of an account and its details ({"account": {…}}).
-- https://developer.gocardless.com/bank-account-data/transactions, …/balance

-- stream: accounts
WITH told AS (
    SELECT connection_id, record_id, try(json_extract_string(payload, ['$.id'])) AS told FROM payloads
),
details AS (
    SELECT connection_id, account_id, nullif(upper(trim(try(json_extract_string(payload, '$.account.currency')))), '') AS currency
    FROM account_payloads
    WHERE try(json_exists(payload, '$.account'))
)
SELECT
    told.connection_id,
    coalesce(told.told[1], told.record_id) AS record_id,
    coalesce(told.told[1], told.record_id) AS account_id,
    NULL::DATE AS day,
    NULL::DECIMAL(28, 8) AS source_amount,
    NULL::DECIMAL(28, 8) AS amount,
    details.currency,
    false AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM told
LEFT JOIN details ON told.connection_id = details.connection_id AND told.record_id = details.account_id

-- stream: balances
WITH accounts AS (
    SELECT
        connection_id,
        coalesce(told[1], account_id) AS account_id,
        coalesce(bool_or(told[2] LIKE '%\_SKHSFI21' ESCAPE '\' OR told[2] = 'SEB_CARD_ESSESESS'), false) AS turned,
        max(nullif(upper(trim(told[3])), '')) AS currency
    FROM (
        SELECT
            connection_id, account_id,
            try(json_extract_string(payload, ['$.id', '$.institution_id', '$.account.currency'])) AS told
        FROM account_payloads
    )
    GROUP BY ALL
),
listed AS (
    SELECT
        connection_id, record_id, account_id, record_date,
        unnest(CASE WHEN len(balances) > 0 THEN balances ELSE [NULL] END) AS balance,
        generate_subscripts(CASE WHEN len(balances) > 0 THEN balances ELSE [NULL] END, 1) AS position
    FROM (
        SELECT connection_id, record_id, account_id, record_date, try(json_extract(payload, '$.balances[*]')) AS balances
        FROM payloads
    )
),
told AS (
    SELECT
        * EXCLUDE (balance),
        try(json_extract_string(balance, [
            '$.balanceType', '$.balanceAmount.amount', '$.balanceAmount.currency', '$.referenceDate', '$.creditLimitIncluded'
        ])) AS told
    FROM listed
),
read AS (
    SELECT
        told.connection_id, told.record_id, told.account_id, told.record_date, told.position,
        told[1] AS kind, exact(told[2]) AS amount, nullif(upper(trim(told[3])), '') AS currency,
        a_day(told[4]) AS reference_on, coalesce(told[5] = 'true', false) AS has_limit,
        coalesce(accounts.turned, false) AS turned, accounts.currency AS account_currency,
        accounts.account_id IS NOT NULL AS has_account
    FROM told
    LEFT JOIN accounts ON told.connection_id = accounts.connection_id AND told.account_id = accounts.account_id
),
-- An account whose details tell no currency has that of what its newest reading lists first.
newest AS (
    SELECT connection_id, account_id, arg_max(currency, (record_date, -position)) AS currency
    FROM read WHERE currency IS NOT NULL GROUP BY ALL
),
own AS (
    SELECT
        read.*,
        coalesce(read.account_currency, newest.currency) AS own_currency,
        CASE kind
            WHEN 'interimBooked' THEN 1 WHEN 'closingBooked' THEN 2
            WHEN 'interimAvailable' THEN CASE WHEN NOT turned THEN 3 END
            WHEN 'expected' THEN 4
        END AS as_booked,
        CASE WHEN NOT turned THEN
            CASE kind
                WHEN 'interimAvailable' THEN 1 WHEN 'closingAvailable' THEN 2 WHEN 'forwardAvailable' THEN 3
                WHEN 'openingAvailable' THEN 4
            END
        END AS as_available
    FROM read
    LEFT JOIN newest ON read.connection_id = newest.connection_id AND read.account_id = newest.account_id
),
chosen AS (
    SELECT
        connection_id, record_id, account_id, record_date, turned, own_currency,
        arg_min(amount, (as_booked, has_limit, -coalesce(epoch(reference_on), 0), position))
            FILTER (as_booked IS NOT NULL AND currency = own_currency) AS booked,
        arg_min(amount, (as_available, has_limit, -coalesce(epoch(reference_on), 0), position))
            FILTER (as_available IS NOT NULL AND currency = own_currency) AS available
    FROM own
    GROUP BY ALL
)
SELECT
    connection_id,
    record_id,
    account_id,
    record_date AS day,
    booked AS source_amount,
    CASE WHEN turned THEN -booked ELSE booked END AS amount,
    own_currency AS currency,
    false AS pending,
    available
FROM chosen

-- stream: transactions
WITH accounts AS (
    SELECT DISTINCT connection_id, told[1] AS account_id
    FROM (
        SELECT connection_id, try(json_extract_string(payload, ['$.id', '$.institution_id'])) AS told FROM account_payloads
    )
    WHERE told[2] LIKE '%\_SKHSFI21' ESCAPE '\' OR told[2] = 'SEB_CARD_ESSESESS'
),
told AS (
    SELECT
        connection_id, record_id, account_id, pending,
        try(json_extract_string(payload, [
            '$.transactionAmount.amount', '$.transactionAmount.currency',
            '$.bookingDate', '$.bookingDateTime', '$.valueDate', '$.valueDateTime'
        ])) AS told
    FROM payloads
),
dated AS (
    SELECT *, left(trim(list_filter(told[3:6], lambda one: trim(one) <> '')[1]), 10) AS day_text FROM told
),
read AS (
    SELECT
        * EXCLUDE (told, day_text),
        exact(told[1]) AS source_amount,
        nullif(upper(trim(told[2])), '') AS currency,
        a_day(day_text) AS day
    FROM dated
)
SELECT
    read.connection_id,
    read.record_id,
    read.account_id,
    read.day,
    read.source_amount,
    CASE WHEN accounts.account_id IS NULL THEN read.source_amount ELSE -read.source_amount END AS amount,
    read.currency,
    read.pending,
    NULL::DECIMAL(28, 8) AS available
FROM read
LEFT JOIN accounts ON read.connection_id = accounts.connection_id AND read.account_id = accounts.account_id
