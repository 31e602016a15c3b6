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
  const tick = () => {
    for (const time of $$('time[datetime]')) {
      const text = relative(Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000)));
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
      for (const row of $$('tr[id]', region)) {
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
    for (const button of $$('[data-ask], [data-secret], [data-copy]')) button.hidden = false;
  };

  const reveal = async (button) => {
    button.disabled = true;
    try {
      const answer = await fetch(`/tasks/${$('[data-task]').dataset.task}`, { headers: { Accept: 'application/json' } });
      const secret = (await answer.json()).result?.[button.dataset.secret];
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

  const cancel = async (button) => {
    button.disabled = true;
    const fault = $('.fault', button.closest('dialog'));
    fault.textContent = '';
    try {
      const answer = await fetch(button.dataset.cancel, { method: 'POST' });
      if (!answer.ok) throw new Error((await answer.json()).title);
      button.closest('dialog').close();
      $('#announce').textContent = 'The task is being ended.';
    } catch (error) {
      fault.textContent = error.message;
    }
    button.disabled = false;
    soon(0);
  };

  document.addEventListener('click', (event) => {
    const on = (selector) => event.target.closest?.(selector);
    const [ask, secret, copy, end, picture] =
      ['[data-ask]', '[data-secret]', '[data-copy]', '[data-cancel]', '[data-picture]'].map(on);
    if (ask) document.getElementById(`ask-${ask.dataset.ask}`).showModal();
    else if (secret) reveal(secret);
    else if (copy) copied(copy, $('code', copy.parentElement).textContent);
    else if (end) cancel(end);
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
