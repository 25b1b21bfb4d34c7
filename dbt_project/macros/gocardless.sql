{#-
  Banks that turn the sign, by GoCardless' id of the institution: the cards of SEB Kort, under all their names. They send
  what is bought as positive, and what is owed too. GoCardless documents no list: this one is what its users found
  (actualbudget/actual, the adapter of SEB Kort); another such bank is one more line here.
-#}
{% macro gocardless_turned_institutions() -%}
  (
    'CIRCLE_K_MASTERCARD_DK_SKHSFI21', 'CIRCLE_K_MASTERCARD_NO_SKHSFI21', 'CIRCLE_K_MASTERCARD_SE_SKHSFI21',
    'EUROCARD_DK_SKHSFI21', 'EUROCARD_FI_SKHSFI21', 'EUROCARD_NO_SKHSFI21', 'EUROCARD_SE_SKHSFI21',
    'GLOBECARD_DK_SKHSFI21', 'GLOBECARD_NO_SKHSFI21',
    'INGO_MASTERCARD_SKHSFI21',
    'NORDIC_CHOICE_CLUB_NO_SKHSFI21', 'NORDIC_CHOICE_CLUB_SE_SKHSFI21',
    'OPEL_MASTERCARD_SKHSFI21',
    'SAAB_MASTERCARD_SKHSFI21',
    'SAS_MASTERCARD_DK_SKHSFI21', 'SAS_MASTERCARD_FI_SKHSFI21', 'SAS_MASTERCARD_NO_SKHSFI21', 'SAS_MASTERCARD_SE_SKHSFI21',
    'SCANDIC_SKHSFI21',
    'SEB_CARD_ESSESESS',
    'SEB_KORT_AB_NO_SKHSFI21', 'SEB_KORT_AB_SE_SKHSFI21',
    'SJ_PRIO_MASTERCARD_SKHSFI21',
    'WALLET_SKHSFI21'
  )
{%- endmacro %}

{#- A bank's text: without NUL, and NULL where the bank sends nothing but space. -#}
{% macro filled(text) -%}
  nullif(trim({{ clean(text) }}), '')
{%- endmacro %}
