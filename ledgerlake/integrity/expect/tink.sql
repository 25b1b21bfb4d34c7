-- Tink: an amount is unscaledValue x 10^-scale, two integers as text or as numbers; the scale may be negative. Positive is money
-- in, and what the holder has, whatever the account. The balances of an account stand in the account.
-- https://docs.tink.com/api#data-v2

-- stream: accounts
WITH told AS (
    SELECT
        connection_id, record_id,
        try(json_extract_string(
            payload, ['$.id', '$.balances.booked.amount.currencyCode', '$.balances.available.amount.currencyCode']
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
    upper(coalesce(told[2], told[3])) AS currency,
    false AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM told

-- stream: balances
WITH told AS (
    SELECT
        connection_id, record_id, account_id, record_date,
        try(json_extract_string(payload, [
            '$.booked.amount.value.unscaledValue', '$.booked.amount.value.scale', '$.booked.amount.currencyCode',
            '$.available.amount.value.unscaledValue', '$.available.amount.value.scale', '$.available.amount.currencyCode'
        ])) AS told
    FROM payloads
),
texts AS (
    SELECT *, scaled(told[1], told[2]) AS booked_text, scaled(told[4], told[5]) AS available_text FROM told
),
read AS (
    SELECT *, exact(booked_text) AS booked, exact(available_text) AS available FROM texts
)
SELECT
    connection_id,
    record_id,
    account_id,
    record_date AS day,
    booked AS source_amount,
    booked AS amount,
    upper(coalesce(told[3], told[6])) AS currency,
    false AS pending,
    available
FROM read

-- stream: transactions
WITH told AS (
    SELECT
        connection_id, record_id, account_id AS of_account,
        try(json_extract_string(payload, [
            '$.id', '$.accountId', '$.amount.value.unscaledValue', '$.amount.value.scale', '$.amount.currencyCode', '$.status',
            '$.dates.booked', '$.bookedDateTime', '$.dates.value', '$.dates.transaction'
        ])) AS told
    FROM payloads
),
texts AS (
    SELECT *, scaled(told[3], told[4]) AS amount_text FROM told
),
read AS (
    SELECT *, exact(amount_text) AS source_amount FROM texts
)
SELECT
    connection_id,
    coalesce(told[1], record_id) AS record_id,
    coalesce(told[2], of_account) AS account_id,
    coalesce(a_day(told[7]), a_day(told[8][:10]), a_day(told[9]), a_day(told[10])) AS day,
    source_amount,
    source_amount AS amount,
    upper(told[5]) AS currency,
    told[6] = 'PENDING' AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM read
