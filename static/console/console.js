// What pages gain from a script: nothing here is needed to use them. No words: those stand in data attributes.
"use strict";
{
  const root = document.documentElement;
  const by = (id) => document.getElementById(id);
  const announce = (words) => { const live = by("announcer"); if (live) live.textContent = words; };

  // Copy buttons. The clipboard API exists only on https and localhost; elsewhere a selection is copied.
  async function copy(button) {
    const text = button.dataset.copy;
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      (button.closest("dialog") ?? document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.dataset.copied = "";
    announce(button.dataset.copiedWords);
    setTimeout(() => delete button.dataset.copied, 1600);
  }

  // The colour scheme: a cookie, so that the server sends the next page in it and nothing flashes.
  function chooseTheme(button) {
    const theme = button.value;
    if (theme === "auto") delete root.dataset.bsTheme; else root.dataset.bsTheme = theme;
    document.cookie = `slipway_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    for (const other of button.closest("[data-theme-choice]").querySelectorAll("button"))
      other.setAttribute("aria-pressed", String(other === button));
  }

  // Rows of keys and values.
  function addRow(button) {
    const rows = button.closest("[data-rows]");
    const all = rows.querySelectorAll(".pair");
    const row = all[all.length - 1].cloneNode(true);
    row.querySelector(".error")?.remove();
    for (const input of row.querySelectorAll("input")) { input.value = ""; input.removeAttribute("aria-invalid"); }
    button.parentElement.before(row);
    row.querySelector("input").focus();
  }
  function removeRow(button) {
    const row = button.closest(".pair");
    if (row.parentElement.querySelectorAll(".pair").length > 1) row.remove();
    else for (const input of row.querySelectorAll("input")) input.value = "";
  }

  // Fields that say more while one types: how many characters of how many, and one mark for each label.
  function beside(field, name) {
    const found = field.parentElement.querySelector(`:scope > .${name}`);
    if (found) return found;
    const made = Object.assign(document.createElement("div"), { className: name });
    field.after(made);
    return made;
  }
  function count(field) {
    beside(field, "counter").textContent = `${[...field.value].length}/${field.dataset.counted}`;
  }
  function chips(field) {
    const words = field.value.split(/[,，]/).map((word) => word.trim()).filter(Boolean);
    beside(field, "chips").replaceChildren(...words.map((word) => {
      const chip = Object.assign(document.createElement("span"), { className: "badge", textContent: word });
      chip.dataset.tone = "idle";
      return chip;
    }));
  }
  function tell(field) {
    if (field.dataset.counted) count(field);
    else if ("chips" in field.dataset) chips(field);
  }
  const tellAll = () => document.querySelectorAll("[data-counted], [data-chips]").forEach(tell);
  document.addEventListener("input", (event) => tell(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.matches("[data-chips]")) return;
    event.preventDefault(); // Enter ends a label, not the form
    if (event.target.value.trim()) event.target.value = `${event.target.value.replace(/[,，\s]+$/, "")}, `;
    chips(event.target);
  });

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    const dialog = by("dialog");
    if (at("[data-copy]")) copy(at("[data-copy]"));
    else if (at("[data-dismiss]")) at("[data-toast]").remove();
    else if (at("[data-theme-choice] button")) chooseTheme(at("[data-theme-choice] button"));
    else if (at("[data-row-add]")) addRow(at("[data-row-add]"));
    else if (at("[data-row-remove]")) removeRow(at("[data-row-remove]"));
    else if (dialog?.open && (event.target === dialog || at("[data-dialog-close]"))) {
      event.preventDefault();
      dialog.close();
    }
    at(".menu a")?.closest(".menu").hidePopover?.();
  });

  // Errors take the focus: the first field, or else the summary.
  function focusError(within) {
    const summary = within.querySelector("[data-form-errors]");
    (within.querySelector("[aria-invalid='true']") ?? summary)?.focus();
  }

  // Toasts of success go by themselves; the others wait for the reader.
  function retire(toasts) {
    for (const toast of toasts.querySelectorAll("[data-toast][data-tone='ok']:not([data-timed])")) {
      toast.dataset.timed = "";
      const leave = () => toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove();
      setTimeout(leave, 8000);
    }
  }
  function toast(node) {
    node.dataset.toast = "";
    by("toasts")?.append(node);
  }

  // Logs stay at their end, unless the reader has scrolled up.
  const seen = new Map();
  function remember(within) {
    for (const log of within.querySelectorAll("[data-tail]"))
      seen.set(log.id, log.scrollHeight - log.scrollTop - log.clientHeight < 24 ? null : log.scrollTop);
    for (const part of within.querySelectorAll("details[id]")) seen.set(part.id, part.open);
  }
  function restore() {
    for (const log of document.querySelectorAll("[data-tail]")) log.scrollTop = seen.get(log.id) ?? log.scrollHeight;
    for (const part of document.querySelectorAll("details[id]")) if (seen.has(part.id)) part.open = seen.get(part.id);
  }

  // Relative times stay true; words for less than a minute come from the server.
  const relative = new Intl.RelativeTimeFormat(root.lang || "en", { numeric: "always" });
  const units = [["day", 86400, 22 * 3600], ["hour", 3600, 45 * 60], ["minute", 60, 45]];
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
      const unit = units.find(([, , least]) => Math.abs(seconds) >= least);
      if (unit) time.textContent = relative.format(Math.round(seconds / unit[1]) || -1, unit[0]);
    }
  }, 15000);

  // htmx. Its events are named here and nowhere else.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.matches(".live")) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (xhr.status < 400 && /^\s*<!doctype/i.test(xhr.responseText)) {
      // A whole page where a piece was asked for: the session has ended, and this is the sign-in page.
      event.detail.shouldSwap = false;
      location.reload();
      return;
    }
    if (!target.matches(".live")) return;
    // Not under the reader's hands: an open menu or selected text waits for the next poll.
    const selection = getSelection();
    const selected = selection && !selection.isCollapsed && target.contains(selection.anchorNode);
    if (selected || target.querySelector(":popover-open")) event.detail.shouldSwap = false;
    else remember(target);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const dialog = by("dialog");
    if (event.detail.target === dialog && !dialog.open) dialog.showModal();
    if (by("toasts")) retire(by("toasts"));
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    restore();
    tellAll();
    if (event.detail.xhr?.status === 422) focusError(by("dialog")?.open ? by("dialog") : document);
  });
  document.addEventListener("htmx:responseError", (event) => {
    const answer = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const problem = answer.querySelector("[data-problem]");
    by("dialog")?.close();
    if (problem) toast(document.importNode(problem, true));
    else failed();
  });
  document.addEventListener("htmx:sendError", (event) => { if (!event.detail.elt.matches(".live")) failed(); });
  function failed() {
    const words = by("request-failed");
    if (words) toast(words.content.firstElementChild.cloneNode(true));
  }

  by("dialog")?.addEventListener("close", (event) => event.target.replaceChildren());
  if (by("toasts")) retire(by("toasts"));
  restore();
  tellAll();
  focusError(document);
}
