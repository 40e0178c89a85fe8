# Varnish, caching what another server has by its own rules.
vcl 4.1;
backend origin {
  .host = "@ORIGIN_HOST@";
  .port = "@ORIGIN_PORT@";
}
