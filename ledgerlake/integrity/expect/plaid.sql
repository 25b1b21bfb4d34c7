-- Plaid: amounts are JSON numbers, positive is money out whatever the account. What is owed on a credit or loan account is a
-- positive balance; what is available on a credit account is the limit less that. Currency is the ISO code, else Plaid's own.
-- https://plaid.com/docs/api/products/transactions, https://plaid.com/docs/api/accounts

-- stream: accounts
WITH told AS (
    SELECT
        connection_id, record_id,
        try(json_extract_string(
            payload, ['$.account_id', '$.balances.iso_currency_code', '$.balances.unofficial_currency_code']
        )) AS told
    FROM payloads
)
SELECT
    connection_id,
    coalesce(told[1], record_id) AS record_id,
    coalesce(told[1], record_id) AS account_id,
    NULL::DATE AS day,
    NULL::DECIMAL(28, 8) AS source_amount,
    NULL::DECIMAL(28, 8) AS amount,
    coalesce(upper(told[2]), told[3]) AS currency,
    false AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM told

-- stream: balances
WITH told AS (
    SELECT
        connection_id, record_id, record_date, account_id AS of_account, payload,
        try(json_extract_string(payload, [
            '$.account_id', '$.type', '$.balances.iso_currency_code', '$.balances.unofficial_currency_code',
            '$.balances.current', '$.balances.available', '$.balances.limit'
        ])) AS told
    FROM payloads
),
texts AS (
    SELECT
        connection_id, record_id, record_date,
        coalesce(told[1], of_account) AS account_id,
        told[2] AS kind,
        coalesce(upper(told[3]), told[4]) AS currency,
        as_it_stands(payload, 'current', told[5]) AS current_text,
        as_it_stands(payload, 'available', told[6]) AS available_text,
        as_it_stands(payload, 'limit', told[7]) AS limit_text
    FROM told
),
read AS (
    SELECT
        * EXCLUDE (current_text, available_text, limit_text),
        of_double(current_text) AS current,
        of_double(available_text) AS available,
        of_double(limit_text) AS credit_limit
    FROM texts
)
SELECT
    connection_id,
    record_id,
    account_id,
    record_date AS day,
    current AS source_amount,
    CASE WHEN kind IN ('credit', 'loan') THEN -current ELSE current END AS amount,
    currency,
    false AS pending,
    CASE
        WHEN kind = 'credit' THEN (available - credit_limit)::DECIMAL(28, 8)
        WHEN kind IN ('loan', 'investment', 'brokerage') THEN NULL
        ELSE available
    END AS available
FROM read

-- stream: transactions
WITH told AS (
    SELECT
        connection_id, record_id, account_id AS of_account, payload,
        try(json_extract_string(payload, [
            '$.transaction_id', '$.account_id', '$.date', '$.amount', '$.iso_currency_code', '$.unofficial_currency_code',
            '$.pending'
        ])) AS told
    FROM payloads
),
texts AS (
    SELECT *, as_it_stands(payload, 'amount', told[4]) AS amount_text FROM told
),
read AS (
    SELECT *, of_double(amount_text) AS source_amount FROM texts
)
SELECT
    connection_id,
    coalesce(told[1], record_id) AS record_id,
    coalesce(told[2], of_account) AS account_id,
    a_day(told[3]) AS day,
    source_amount,
    -source_amount AS amount,
    coalesce(upper(told[5]), told[6]) AS currency,
    told[7] = 'true' AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM read
