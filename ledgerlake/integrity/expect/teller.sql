-- Teller: an amount is text, signed by what it does to the account's ledger, and the ledger of a credit account is what is
-- owed. Neither transactions nor balances have a currency: it is the account's.
-- https://teller.io/docs/api/account/transactions, https://teller.io/docs/api/account/balances

-- stream: accounts
WITH told AS (
    SELECT connection_id, record_id, try(json_extract_string(payload, ['$.id', '$.currency'])) AS told FROM payloads
)
SELECT
    connection_id,
    coalesce(told[1], record_id) AS record_id,
    coalesce(told[1], record_id) AS account_id,
    NULL::DATE AS day,
    NULL::DECIMAL(28, 8) AS source_amount,
    NULL::DECIMAL(28, 8) AS amount,
    nullif(upper(told[2]), '') AS currency,
    false AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM told

-- stream: balances
WITH told AS (
    SELECT
        connection_id, record_id, record_date,
        try(json_extract_string(payload, ['$.account_id', '$.ledger', '$.available'])) AS told,
        account_id AS of_account
    FROM payloads
),
accounts AS (
    SELECT connection_id, told[1] AS account_id, told[2] = 'credit' AS owes, nullif(upper(told[3]), '') AS currency
    FROM (
        SELECT connection_id, try(json_extract_string(payload, ['$.id', '$.type', '$.currency'])) AS told
        FROM account_payloads
    )
),
read AS (
    SELECT
        connection_id, record_id, record_date, coalesce(told[1], of_account) AS account_id,
        exact(told[2]) AS ledger, exact(told[3]) AS available
    FROM told
)
SELECT
    read.connection_id,
    read.record_id,
    read.account_id,
    read.record_date AS day,
    read.ledger AS source_amount,
    CASE accounts.owes WHEN true THEN -read.ledger WHEN false THEN read.ledger END AS amount,
    accounts.currency,
    false AS pending,
    CASE accounts.owes WHEN true THEN -read.available WHEN false THEN read.available END AS available
FROM read
LEFT JOIN accounts ON read.connection_id = accounts.connection_id AND read.account_id = accounts.account_id

-- stream: transactions
WITH told AS (
    SELECT
        connection_id, record_id, account_id AS of_account,
        try(json_extract_string(payload, ['$.id', '$.account_id', '$.date', '$.amount', '$.status'])) AS told
    FROM payloads
),
accounts AS (
    SELECT connection_id, told[1] AS account_id, told[2] = 'credit' AS owes, nullif(upper(told[3]), '') AS currency
    FROM (
        SELECT connection_id, try(json_extract_string(payload, ['$.id', '$.type', '$.currency'])) AS told
        FROM account_payloads
    )
),
read AS (
    SELECT
        connection_id, coalesce(told[1], record_id) AS record_id, coalesce(told[2], of_account) AS account_id,
        a_day(told[3]) AS day, exact(told[4]) AS source_amount, told[5] = 'pending' AS pending
    FROM told
)
SELECT
    read.connection_id,
    read.record_id,
    read.account_id,
    read.day,
    read.source_amount,
    CASE accounts.owes WHEN true THEN -read.source_amount WHEN false THEN read.source_amount END AS amount,
    accounts.currency,
    read.pending,
    NULL::DECIMAL(28, 8) AS available
FROM read
LEFT JOIN accounts ON read.connection_id = accounts.connection_id AND read.account_id = accounts.account_id
