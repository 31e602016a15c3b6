// Keeps pages fresh, and does what needs a person's click. Pages are whole without it.
'use strict';
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Times

  const relative = (seconds) => {
    if (seconds < 5) return 'just now';
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };
  const remaining = (seconds) => {
    if (seconds <= 0) return 'over';
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  };
  const tick = () => {
    for (const time of $$('time[datetime]')) {
      const ago = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
      const text = time.hasAttribute('data-left') ? remaining(-ago) : relative(Math.max(0, ago));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // Making what is on the page like what the server would show now, without touching what stays the same.

  const morph = (have, want) => {
    if (have.hasAttribute('data-keep') || have.isEqualNode(want)) return;
    for (const { name, value } of want.attributes) {
      if (name !== 'open' && name !== 'hidden' && have.getAttribute(name) !== value) have.setAttribute(name, value);
    }
    for (const { name } of [...have.attributes]) {
      if (name !== 'open' && name !== 'hidden' && !want.hasAttribute(name)) have.removeAttribute(name);
    }
    const named = new Map([...have.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = have.firstChild;
    for (const child of [...want.childNodes]) {
      const same = child.id ? named.get(child.id) : at && !at.id ? at : null;
      if (same && same.nodeName === child.nodeName) {
        if (same === at) at = at.nextSibling;
        else have.insertBefore(same, at);
        if (same.nodeType === Node.ELEMENT_NODE) morph(same, child);
        else if (same.data !== child.data) same.data = child.data;
      } else {
        have.insertBefore(document.importNode(child, true), at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  // A list under the pointer keeps its order until the pointer leaves; its rows change in place.
  const waiting = new Map();
  const update = (region, fresh) => {
    if (region.hasAttribute('data-steady') && region.matches(':hover')) {
      for (const row of $$('tr[id], .cards > li[id]', region)) {
        const same = fresh.querySelector(`#${CSS.escape(row.id)}`);
        if (same) morph(row, same);
      }
      if (!waiting.has(region)) {
        region.addEventListener('mouseleave', () => {
          const last = waiting.get(region);
          waiting.delete(region);
          morph(region, last);
          enable();
          tick();
        }, { once: true });
      }
      waiting.set(region, fresh);
    } else {
      waiting.delete(region);
      morph(region, fresh);
    }
  };

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(10000) });
    if (answer.redirected) location.reload();
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const before = $('[data-task]')?.dataset.state;
    for (const fresh of $$('[data-live]', page)) {
      const region = document.getElementById(fresh.id);
      if (region) update(region, fresh);
    }
    const task = $('[data-task]');
    if (task && task.dataset.state !== before && !['queued', 'running'].includes(task.dataset.state)) {
      $('#announce').textContent = task.dataset.said;
      $('#ask-cancel')?.close();
    }
    enable();
    tick();
  };

  // Live

  const mark = $('#mark');
  const show = (live) => {
    mark.hidden = false;
    mark.classList.toggle('away', !live);
    const word = live ? 'live' : 'reconnecting';
    if ($('.word', mark).textContent !== word) $('.word', mark).textContent = word;
  };
  let timer = null;
  let busy = false;
  const soon = (after) => {
    timer ??= setTimeout(async () => {
      timer = null;
      if (busy) return soon(300);
      busy = true;
      try {
        await refresh();
        show(source?.readyState === EventSource.OPEN);
      } catch {
        show(false);
        soon(3000);
      }
      busy = false;
    }, after);
  };
  let source = null;
  const listen = () => {
    source = new EventSource('/events');
    source.onopen = () => show(true);
    source.onerror = () => {
      show(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    };
    source.addEventListener('change', ({ data }) => {
      const change = JSON.parse(data);
      const task = $('[data-task]')?.dataset.task;
      if (!task || change.all || change.tasks.includes(task)) soon(200);
    });
  };

  // What needs a click

  const enable = () => {
    const clickable = '[data-ask], [data-secret], [data-copy], [data-login], [data-extend], [data-click]';
    for (const button of $$(clickable)) button.hidden = false;
  };

  const reveal = async (button) => {
    button.disabled = true;
    try {
      const answer = await fetch(`/tasks/${$('[data-task]').dataset.task}`, { headers: { Accept: 'application/json' } });
      const { result } = await answer.json();
      const secret = button.dataset.secret.split('.').reduce((part, name) => part?.[name], result);
      const output = document.createElement('output');
      output.textContent = secret ?? 'no longer kept';
      const place = button.parentElement;
      place.setAttribute('data-keep', '');
      place.replaceChildren(output);
      if (secret) {
        const copy = document.createElement('button');
        copy.type = 'button';
        copy.className = 'small';
        copy.textContent = 'Copy';
        copy.addEventListener('click', () => copied(copy, secret));
        place.append(copy);
        copy.focus();
      }
    } catch {
      button.disabled = false;
      button.textContent = 'Not reachable. Try again';
    }
  };

  const copied = async (button, text) => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Select and copy it';
    }
  };

  // A request that changes something; fails with the problem's own words.
  const ask = async (method, url, body) => {
    const headers = body ? { 'Content-Type': 'application/json' } : {};
    const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.title);
    return said;
  };

  // Does what a button is for; what goes wrong is said in `fault`.
  const act = async (button, fault, what) => {
    button.disabled = true;
    fault.textContent = '';
    try {
      await what();
    } catch (error) {
      fault.textContent = error.message;
    }
    button.disabled = false;
    soon(0);
  };
  const end = (button, method, url, said) => {
    const dialog = button.closest('dialog');
    return act(button, $('.fault', dialog), async () => {
      await ask(method, url);
      dialog.close();
      $('#announce').textContent = said;
    });
  };
  const extend = (button) => act(button, $('#clones-fault'), async () => {
    const kept = $('select', button.parentElement);
    await ask('PATCH', button.dataset.extend, { ttl_minutes: Number(kept.value) });
    $('#announce').textContent = `It will be kept for ${kept.selectedOptions[0].text} from now.`;
  });
  const login = (button) => act(button, $('#clones-fault'), async () => {
    const { url, expires_at } = await ask('POST', button.dataset.login);
    const place = button.parentElement;
    const link = document.createElement('a');
    Object.assign(link, { href: url, target: '_blank', rel: 'noopener noreferrer', textContent: 'Open wp-admin, once' });
    const back = () => {
      place.removeAttribute('data-keep');
      place.replaceChildren(button);
    };
    // The link has done its work, or its time is over. Not at once: the browser has yet to follow it.
    link.addEventListener('click', () => setTimeout(back));
    setTimeout(back, Date.parse(expires_at) - Date.now());
    place.setAttribute('data-keep', '');
    place.replaceChildren(link);
    link.focus();
  });
  const question = (button) => {
    const dialog = document.getElementById(`ask-${button.dataset.ask}`);
    const { about, called } = button.dataset;
    if (about) {
      $('[data-delete]', dialog).dataset.delete = about;
      $('[data-name]', dialog).textContent = called;
    }
    $('.fault', dialog).textContent = '';
    dialog.showModal();
  };

  document.addEventListener('click', (event) => {
    const on = (selector) => event.target.closest?.(selector);
    const [asks, secret, copy, cancel, remove, longer, enter, picture] = [
      '[data-ask]', '[data-secret]', '[data-copy]', '[data-cancel]', '[data-delete]', '[data-extend]', '[data-login]',
      '[data-picture]',
    ].map(on);
    if (asks) question(asks);
    else if (secret) reveal(secret);
    else if (copy) copied(copy, $('code', copy.parentElement).textContent);
    else if (cancel) end(cancel, 'POST', cancel.dataset.cancel, 'The task is being ended.');
    else if (remove) end(remove, 'DELETE', remove.dataset.delete, 'The clone is being deleted.');
    else if (longer) extend(longer);
    else if (enter) login(enter);
    else if (picture && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      const dialog = $('#picture');
      const image = $('img', dialog);
      image.src = picture.href;
      image.alt = $('img', picture).alt;
      dialog.showModal();
    } else if (event.target.matches('dialog')) event.target.close();
  });

  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, select, textarea, dialog');
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && $('#search')) {
      event.preventDefault();
      $('#search').focus();
    } else if (event.key === 'Escape' && event.target.id === 'search') event.target.blur();
  });

  // A link to a part of the page opens it.
  const open = () => {
    // Ids are plain; whatever else stands there opens nothing.
    const part = document.getElementById(location.hash.slice(1));
    if (part?.matches('details')) part.open = true;
  };
  addEventListener('hashchange', open);

  open();
  enable();
  setInterval(tick, 1000);
  if (document.body.hasAttribute('data-live-page')) {
    listen();
    // Heartbeats of workers signal nothing.
    setInterval(() => { if (!document.hidden) soon(0); }, 10000);
  }
})();
