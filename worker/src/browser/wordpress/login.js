// What the page that is open shows, or null while it is not there yet, or is the one that a form was just sent from.
// arguments: what a page shows that wants to see a person (CSS).
if (document.readyState === "loading" || !document.body) return null;
const has = (css) => document.querySelector(css) !== null;
const text = (css) => {
  const found = document.querySelector(css);
  return found ? found.innerText.replace(/\s+/g, " ").trim().slice(0, 2000) : null;
};
// Captchas by their boxes, by the fields that hold their answers, and by the scripts of those that show nothing.
const CAPTCHA = [
  ".g-recaptcha", ".h-captcha", ".cf-turnstile", ".frc-captcha", ".mtcaptcha", ".geetest_captcha", "altcha-widget",
  "cap-widget", "[data-sitekey]", "input[name*=captcha i]", "input[name^=cptch]", "textarea[name*=captcha i]",
  "input[name=cf-turnstile-response]", "input[name=jetpack_protect_num]",
  "img[src*=captcha i]", "img[class*=captcha i]", "canvas[id*=captcha i]",
].map((css) => "#loginform " + css).concat([
  "script[src*='/recaptcha/']", "script[src*='hcaptcha.com/']", "script[src*='challenges.cloudflare.com/turnstile']",
  "script[src*='friendlycaptcha']", "script[src*='friendly-challenge']", "script[src*='mtcaptcha']",
  "script[src*='geetest']", "script[src*='smartcaptcha']", "script[src*='arkoselabs']", "script[src*='funcaptcha']",
  "#loginform iframe[src*=captcha i]", "#loginform iframe[src*='challenges.cloudflare.com']",
]).join(", ");
// What a person sees of the form and has not filled in, besides user and password.
const isQuestion = (field) => {
  const { right, bottom, width } = field.getBoundingClientRect();
  return !["log", "pwd"].includes(field.name) && !field.value && !field.disabled && width > 1 && right > 0 && bottom > 0 &&
    (!field.checkVisibility || field.checkVisibility({ visibilityProperty: true, opacityProperty: true }));
};
const QUESTIONS = ["text", "number", "tel", "email", "password"].map((type) => `#loginform input[type=${type}]`)
  .concat(["#loginform input:not([type])", "#loginform textarea"]).join(", ");
// Fields for a code. Plugins have hidden ones in every login form, and show others only to whom they ask.
const CODES = "form[name=validate_2fa_form], input[name=authcode], input[name=googleotp], input[name='two-factor-email-code'], " +
  "input[name^=wfls-], input[name=wp_2fa_code], input[name='wp-2fa-email-code'], input[autocomplete=one-time-code]";
const secondFactor = [...document.querySelectorAll(CODES)]
  .some((field) => field.checkVisibility ? field.checkVisibility() : field.type !== "hidden");
const visit = performance.getEntriesByType("navigation")[0];
const shown = window.__wpcloneShown || { secondFactor: true, error: true };
if (window.__wpcloneSent) {
  // A script of the form may send it itself, and show in the same page what the site replied.
  if (!(secondFactor && !shown.secondFactor) && !(has("#login_error") && !shown.error)) return null;
} else {
  // Before that the form's scripts do not see that it is sent.
  const ready = document.readyState === "complete" || (visit && visit.domContentLoadedEventEnd > 0);
  if (has("#loginform") && !ready) return null;
  window.__wpcloneShown = { secondFactor, error: has("#login_error") };
}
return {
  url: location.href,
  version: (/\bversion-(\d+(-\d+)*)/.exec(document.body.className) || [])[1] || null,
  status: (visit && visit.responseStatus) || 0,
  form: has("#loginform #user_login, #loginform [name=log]"),
  password: has("#loginform [name=pwd]"),
  question: [...document.querySelectorAll(QUESTIONS)].some(isQuestion),
  test_cookie: has("#loginform [name=testcookie]"),
  error: text("#login_error"),
  admin: has("#wpadminbar") || document.body.classList.contains("wp-admin"),
  confirm_email: has("form.admin-email-confirm-form"),
  second_factor: secondFactor,
  captcha: has("#loginform") && has(CAPTCHA),
  challenge: has(arguments[0]),
  by_server: !has("form") && (/^\s*\d{3}\b/.test(document.title) || document.body.innerText.trim() === ""),
  message: text("#error-page .wp-die-message, #error-page, .message, #login h1 ~ p"),
};
