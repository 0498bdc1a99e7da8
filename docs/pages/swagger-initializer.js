// Starts Swagger UI on /docs. A file of its own, because the page's Content-Security-Policy allows no inline script.
"use strict";

// Swagger UI is dark where <html> has the class dark-mode: follow what the browser prefers, also when it changes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const followScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
followScheme();
dark.addEventListener("change", followScheme);

// The API takes a key in one of two headers and refuses both at once, which Swagger UI sends when both are filled in.
const sendOneKey = (request) => {
  if (request.headers.Authorization) {
    delete request.headers["X-API-Key"];
  }
  return request;
};

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  requestInterceptor: sendOneKey,
});
