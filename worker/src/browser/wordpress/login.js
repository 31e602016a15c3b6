// What the page that is open shows, or null while it is not there yet, or is the one that a form was just sent from.
// arguments: what a page shows that wants to see a person (CSS).
if (window.__wpcloneSent || document.readyState === "loading" || !document.body) return null;
const has = (css) => document.querySelector(css) !== null;
const text = (css) => {
  const found = document.querySelector(css);
  return found ? found.innerText.replace(/\s+/g, " ").trim().slice(0, 2000) : null;
};
const visit = performance.getEntriesByType("navigation")[0];
return {
  url: location.href,
  version: (/\bversion-(\d+(-\d+)*)/.exec(document.body.className) || [])[1] || null,
  status: (visit && visit.responseStatus) || 0,
  form: has("#loginform #user_login, #loginform [name=log]"),
  error: text("#login_error"),
  admin: has("#wpadminbar") || document.body.classList.contains("wp-admin"),
  confirm_email: has("form.admin-email-confirm-form"),
  second_factor: has(
    "form[name=validate_2fa_form], input[name=authcode], input[name=googleotp], input[name='two-factor-email-code'], " +
    "input[name^=wfls-], input[name=wp_2fa_code], input[name='wp-2fa-email-code'], input[autocomplete=one-time-code]"),
  captcha: has(
    "#loginform .g-recaptcha, #loginform .h-captcha, #loginform .cf-turnstile, #loginform iframe[src*=recaptcha], " +
    "#loginform iframe[src*=hcaptcha], #loginform iframe[src*='challenges.cloudflare.com']"),
  challenge: has(arguments[0]),
  error_page: document.body.id === "error-page",
  message: text("#error-page .wp-die-message, #error-page, .message, #login h1 ~ p"),
};
