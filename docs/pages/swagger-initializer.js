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

// What assistive technologies need and Swagger UI 5.35 lacks: no link inside the button that opens an operation (the
// address changes when it opens), a landmark around the introduction, a heading between the title and the tags, and a name
// for the text area of a body.
const accessible = ({ React }) => ({
  wrapComponents: {
    DeepLink: () => ({ text }) => React.createElement("span", null, text),
    InfoContainer: (Original) => (props) => React.createElement("section", { "aria-label": "Introduction" }, React.createElement(Original, props)),
    operations: (Original) => (props) =>
      React.createElement("div", null, React.createElement("h2", { className: "unseen" }, "Operations"), React.createElement(Original, props)),
    TextArea: (Original) => (props) => React.createElement(Original, { ...props, "aria-label": "Request body" }),
  },
});

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [accessible],
  layout: "BaseLayout",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  requestInterceptor: sendOneKey,
});
