{#- A model's schema is the one its folder names, as it is: the lake's schemas are staging, intermediate and main. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
