{#- Money is DECIMAL(28,8) everywhere. Text that is no number gives NULL: the model then says why it leaves the row out. -#}
{% macro money(text) -%}
  try_cast({{ text }} as decimal(28, 8))
{%- endmacro %}

{#- Text without the NUL characters that PostgreSQL, CSV and most readers cannot hold. -#}
{% macro clean(text) -%}
  replace({{ text }}, chr(0), '')
{%- endmacro %}

{#- One account, over all providers: the connection and the provider's own id of the account. -#}
{% macro account_key(connection_id='connection_id', account_id='provider_account_id') -%}
  ({{ connection_id }} || ':' || {{ account_id }})
{%- endmacro %}
