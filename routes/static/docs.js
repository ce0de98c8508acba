"use strict";

// A file of its own, because the page's Content-Security-Policy forbids inline scripts.
SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "openapi.json", // relative to /api/docs
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // the default sends the document's address to another host
});
